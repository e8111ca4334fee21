"""The web page: a service that knows no HTTP, and a thin layer that does."""
