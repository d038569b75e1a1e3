#!/bin/bash
# Ask a broker for its brokers, in Kafka's protocol: one that lists itself serves. Kafka's own tools start a JVM.
# Metadata version 4 without topics; the answer: size, correlation id, throttle time, number of brokers.
exec 3<>"/dev/tcp/localhost/${1:-9094}" || exit 1
printf '\0\0\0\x15\0\3\0\4\0\0\0\1\0\6health\0\0\0\0\0' >&3
answer=$(timeout 4 head -c 16 <&3 | od -An -v -tx1 | tr -d ' \n')
[ "${#answer}" = 32 ] && [ "${answer:8:8}" = 00000001 ] && [ "${answer:24}" != 00000000 ]
