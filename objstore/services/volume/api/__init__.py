"""The Block Storage API (Cinder's v3) over volumes of the store: projects, states, quotas, types, snapshots, backups."""
