#!/bin/bash
# Ask the process of this container whether it is ready. A health check runs every few seconds in every container: this
# one starts no Python.
exec 3<>"/dev/tcp/127.0.0.1/${1:-9100}" || exit 1
printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
