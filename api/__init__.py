"""The HTTP face: validates, stores desired state and answers. Never touches the Docker socket."""
