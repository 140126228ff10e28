"""The same core in virtual time: no engine is touched, and hours pass in seconds."""
