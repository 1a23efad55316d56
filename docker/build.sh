#!/usr/bin/env bash
# Builds the image without a docker daemon and writes build/secrets-store-csi.tar, a docker archive.
#
#   BASE    the base image; without it the Dockerfile's, and where no registry has that to give, a Debian with Python,
#           made by debootstrap, once, into the cache
#   TAG     name of the image in the archive (default secrets-store-csi:VERSION)
#   OUTPUT  the archive (default build/secrets-store-csi.tar)
#
# With --print-tag it prints TAG and builds nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/secrets-store-csi"
SUITE=bookworm
RECIPE=2  # of the base; a new number makes it anew
LOCAL_BASE="localhost/secrets-store-base:$SUITE-$RECIPE"
OUTPUT="${OUTPUT:-build/secrets-store-csi.tar}"
VERSION=$(sed -n 's/^version = //p' setup.cfg)
TAG="${TAG:-secrets-store-csi:$VERSION}"
case "${1:-}" in
  "") ;;
  --print-tag) echo "$TAG"; exit ;;
  *) echo "build.sh: unknown argument $1: only --print-tag is known; everything else is set by environment variables" >&2; exit 2 ;;
esac
COMMIT=$(git rev-parse HEAD 2>/dev/null || echo unknown)$([ -z "$(git status --porcelain 2>/dev/null)" ] || echo -dirty)
# The commit's own time: two builds of one commit carry the same date.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
DATE=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

for tool in buildah tar; do
  command -v "$tool" >/dev/null || { echo "build.sh: $tool is missing: apt-get install buildah debootstrap" >&2; exit 1; }
done

make_base() {
  local root="$CACHE/base-$SUITE-$RECIPE.tar"
  if [ ! -f "$root" ]; then
    command -v debootstrap >/dev/null || { echo "build.sh: debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
    local work
    work=$(mktemp -d)
    mkdir -p "$CACHE"
    # The mirror that this machine itself uses, so that nothing about it stands here.
    local mirror
    mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
      sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \([^ ]*\) .*/\1/p' | sed -n 1p) || true
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$SUITE" "$work" "$mirror" >"$CACHE/debootstrap.log"
    rm -rf "$work"/var/cache/apt/* "$work"/var/lib/apt/lists/* "$work"/usr/share/doc/* "$work"/usr/share/man/* \
      "$work"/usr/share/locale/* "$work"/var/log/* "$work"/etc/apt/sources.list "$work"/dev/*
    # debootstrap copies these from this machine.
    rm -f "$work"/etc/hostname "$work"/etc/resolv.conf "$work"/var/cache/ldconfig/aux-cache
    tar --sort=name --numeric-owner -C "$work" -cf "$root.draft" .
    mv "$root.draft" "$root"
    rm -rf "$work"
  fi
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$root" / >/dev/null
  buildah config --cmd python3 "$container"
  buildah commit --quiet --rm "$container" "$LOCAL_BASE" >/dev/null
}

has_image() {
  buildah inspect --type image "$1" >/dev/null 2>&1
}

if [ -z "${BASE:-}" ]; then
  BASE=$(sed -n 's/^ARG BASE=//p' docker/Dockerfile)
  if ! has_image "$BASE" && ! timeout 120 buildah pull --quiet "$BASE" >/dev/null 2>&1; then
    echo "build.sh: no registry gives $BASE: the base is made by debootstrap" >&2
    has_image "$LOCAL_BASE" || make_base
    BASE="$LOCAL_BASE"
  fi
fi

# The build stage reaches the package index as this machine's pip does: its settings as a secret, its certificates
# mounted; nothing of either in the image. Settings that name files of this machine mean nothing in there.
SECRETS=$(mktemp -d)
trap 'rm -rf "$SECRETS"' EXIT
{
  echo "[global]"
  "${PYTHON:-python3}" -m pip config list 2>/dev/null |
    sed -n "s/^.*\.\(index-url\|extra-index-url\|trusted-host\|proxy\|timeout\|default-timeout\)='\(.*\)'$/\1 = \2/p" |
    sort -u -k 1,1
  [ ! -f /etc/ssl/certs/ca-certificates.crt ] || echo "cert = /etc/ssl/certs/ca-certificates.crt"
} >"$SECRETS/pip.conf" || true
mounts=(--secret "id=pip.conf,src=$SECRETS/pip.conf")
[ ! -f /etc/ssl/certs/ca-certificates.crt ] || mounts+=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)

image_id() {
  buildah inspect --type image --format '{{.FromImageID}}' "$1" 2>/dev/null || true
}

previous=$(image_id "$TAG")
buildah bud --quiet --layers=false --timestamp "$SOURCE_DATE_EPOCH" "${mounts[@]}" \
  --build-arg BASE="$BASE" --build-arg VERSION="$VERSION" --build-arg COMMIT="$COMMIT" --build-arg BUILD_DATE="$DATE" \
  --tag "$TAG" --file docker/Dockerfile . >/dev/null

# The image that had the tag before would stay behind without a name, once for every build.
[ -z "$previous" ] || [ "$previous" = "$(image_id "$TAG")" ] || buildah rmi "$previous" >/dev/null 2>&1 || true

mkdir -p "$(dirname "$OUTPUT")"
rm -f "$OUTPUT"
buildah push --quiet "$TAG" "docker-archive:$OUTPUT:$TAG" >/dev/null
echo "$OUTPUT: $TAG, $(du -m "$OUTPUT" | cut -f1) MiB with its base"
