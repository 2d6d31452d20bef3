#!/bin/busybox sh
# The first process of a guest that `cargo xtask kernels` boots: runs each program of /tests, c10k and the
# oracle, marks on the console where each begins and how it ends, and switches the machine off.
# /settings has SKIP, ORACLE_SECONDS and what the tests have in their environment.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
ip link set lo up
. /settings

echo
echo "guest: $(uname -r) $(uname -m)"

run() {
    name=$1
    shift
    echo
    echo "--- $name"
    "$@" 2>&1
    code=$?
    echo
    echo "=== $name: $code, $(cut -d' ' -f1 /proc/uptime) s after the start"
}

for program in /tests/*; do
    run "${program##*/}" "$program" $SKIP
done
run c10k /programs/c10k --connections 200 --seconds 300
run c10k-slow /programs/c10k --connections 100 --slow 20 --seconds 300
for backend in epoll poll; do
    run "oracle-$backend" /programs/oracle run --seconds "$ORACLE_SECONDS" --backend "$backend"
done
poweroff -f
