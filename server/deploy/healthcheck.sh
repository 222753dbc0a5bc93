#!/bin/sh
# Succeeds if the server in this container answers GET /readyz with 200, over https if the server has a certificate.
port=${LEXIVEC_PORT:-30000}
# Kubernetes sets LEXIVEC_PORT to tcp://… for a Service named lexivec. The server ignores that value as well.
case $port in *[!0-9]*) port=30000 ;; esac
scheme=http
[ -z "$LEXIVEC_TLS_CERT" ] || scheme=https
# The certificate is for the server's public name, not for 127.0.0.1. Proxies in the environment are for downloads, and
# wget would store HSTS entries in the home folder.
exec wget --quiet --tries=1 --timeout=4 --no-proxy --no-check-certificate --no-hsts --output-document=/dev/null \
    "$scheme://127.0.0.1:$port/readyz"
