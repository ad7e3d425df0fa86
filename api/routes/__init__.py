"""The views, one module a resource. Each is thin: read the request, ask the store, write the answer."""
