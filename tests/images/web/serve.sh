#!/bin/sh
# Answers every request for / with "<host name> <version>".
mkdir -p /www
echo "$(hostname) $VERSION" >/www/index.html
echo "serving $VERSION"
exec httpd -f -p 80 -h /www
