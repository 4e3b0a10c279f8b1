#!/bin/sh
# ssh runs this to ask for a secret ($1 is the question); the process that started ssh answers, over a socket in its
# private folder. Neither this file nor the environment holds the secret.
exec "$DAGSTER_SLURM_ASKPASS_PYTHON" -I -S -c '
import socket, sys
ask = socket.socket(socket.AF_UNIX)
ask.connect(sys.argv[1])
ask.sendall(sys.argv[2].encode("utf-8", "surrogateescape"))
ask.shutdown(socket.SHUT_WR)
answer = b""
while True:
    part = ask.recv(4096)
    if not part:
        break
    answer += part
if not answer:
    sys.exit(1)
sys.stdout.buffer.write(answer)
' "$DAGSTER_SLURM_ASKPASS_SOCKET" "$1"
