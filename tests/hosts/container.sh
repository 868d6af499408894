# What a container of a restricted Kubernetes pod, of Fargate or of Lambda is to a program.
#
#     unshare --mount sh container.sh ROOT OPTIONS DIRECTORY... -- PROGRAM [ARGUMENT]...
#
# ROOT is an empty directory; nothing but the DIRECTORYs is in the container, and they are read-only. OPTIONS
# are the mount options of /tmp, the only place that may be writable; there is no /dev/shm. PROGRAM runs
# as a user without a name, a group, a capability, or a way to get one.
set -e
root=$1 options=$2
shift 2
mount --make-rprivate /
mount -t tmpfs -o size=1m,mode=755 tmpfs "$root"
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
    mount -o remount,bind,ro "$root$1"
    shift
done
shift
mkdir -p "$root/proc" "$root/dev" "$root/tmp"
mount --bind /proc "$root/proc"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o "$options" tmpfs "$root/tmp"
mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid=65533 --regid=65533 --clear-groups --inh-caps=-all --bounding-set=-all \
    --no-new-privs "$@"
