#!/bin/sh
number=0
while [ -z "$COUNT" ] || [ "$number" -lt "$COUNT" ]; do
    echo "out $number"
    echo "err $number" >&2
    number=$((number + 1))
    [ -z "$PAUSE" ] || sleep "$PAUSE"
done
while true; do sleep 3600; done
