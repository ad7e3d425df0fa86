#!/bin/sh
# Counts to 8000 (some 10 to 20 ms of CPU), then answers.
i=0
while [ $i -lt 8000 ]; do i=$((i + 1)); done
printf 'Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s' "${#VERSION}" "$VERSION"
