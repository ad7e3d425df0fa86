"""The way of traffic: from ready instances to routes (pure), to a configuration (pure), to the running HAProxy."""
