"""What the services' APIs share: an ASGI application of routes, calls with their tokens, errors in JSON, pages, filters, versions."""
