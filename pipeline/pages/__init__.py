"""Pages that a partner or a brand reads without a network or a server, drawn by the same SQL as the dashboards."""
