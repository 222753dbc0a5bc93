#!/bin/bash
# Succeeds if the server in this container answers GET /livez with 200. Bash alone does it: the image has no curl.
exec 3<>"/dev/tcp/127.0.0.1/${LEXIVEC_PORT:-30000}" || exit 1
# Bash speaks no TLS: there, a port that accepts has to do.
[[ -z $LEXIVEC_TLS_CERT ]] || exit 0
printf 'GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[[ $status == 200 ]]
