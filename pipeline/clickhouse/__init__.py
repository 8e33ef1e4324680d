"""Where outcomes land: ClickHouse, embedded (chDB) or a server, behind one client API."""
