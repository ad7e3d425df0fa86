#!/usr/bin/env bash
# Removes what tests left on the engine, and nothing else: containers, networks and volumes whose label
# skylark.installation begins with "skylark-test-", and images labelled skylark.test=1.
set -euo pipefail

label='{{.Label "skylark.installation"}}'

ours() { # from lines "id label" the ids whose label is a test's
    awk '$2 ~ /^skylark-test-/ { print $1 }'
}

docker ps -a --no-trunc --filter label=skylark.installation --format "{{.ID}} $label" | ours | xargs -r docker rm -f
docker network ls --filter label=skylark.installation --format "{{.ID}} $label" | ours | xargs -r docker network rm
docker volume ls --filter label=skylark.installation --format "{{.Name}} $label" | ours | xargs -r docker volume rm
docker image ls -q --no-trunc --filter label=skylark.test=1 | sort -u | xargs -r docker image rm -f
