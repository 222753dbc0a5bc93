#!/bin/bash
# Succeeds if the server in this container answers GET /livez with 200. Bash alone does it: the image has no curl.
port=${LEXIVEC_PORT:-30000}
# Kubernetes sets tcp://… for a Service named lexivec; the server ignores that, too.
[[ $port =~ ^[0-9]+$ ]] || port=30000
exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
# Bash speaks no TLS: there, a port that accepts has to do.
[[ -z $LEXIVEC_TLS_CERT ]] || exit 0
printf 'GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[[ $status == 200 ]]
