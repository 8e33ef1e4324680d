"""A partner's access to its own figures: a ClickHouse user, a database of views, an organisation in Grafana."""
