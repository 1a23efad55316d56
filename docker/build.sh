#!/usr/bin/env bash
# Builds the image without a docker daemon and writes build/secrets-store-csi.tar, a docker archive.
#
#   BASE    the base image; without it a Debian with Python is made by debootstrap, once, into the cache
#   TAG     name of the image in the archive (default secrets-store-csi:VERSION)
set -euo pipefail
cd "$(dirname "$0")/.."

export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/secrets-store-csi"
SUITE=bookworm
LOCAL_BASE="localhost/secrets-store-base:$SUITE"
VERSION=$(sed -n 's/^version = //p' setup.cfg)
TAG="${TAG:-secrets-store-csi:$VERSION}"
COMMIT=$(git rev-parse HEAD 2>/dev/null || echo unknown)
# The commit's own time: two builds of one commit carry the same date.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
DATE=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

for tool in buildah tar; do
  command -v "$tool" >/dev/null || { echo "build.sh: $tool is missing: apt-get install buildah debootstrap" >&2; exit 1; }
done

make_base() {
  local root="$CACHE/base-$SUITE.tar"
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

if [ -z "${BASE:-}" ]; then
  buildah inspect --type image "$LOCAL_BASE" >/dev/null 2>&1 || make_base
  BASE="$LOCAL_BASE"
fi

# The build stage reaches the package index as this machine does: its certificates, nothing of it in the image.
mounts=()
[ -f /etc/ssl/certs/ca-certificates.crt ] && mounts+=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)

buildah bud --quiet --layers=false --timestamp "$SOURCE_DATE_EPOCH" "${mounts[@]}" \
  --build-arg BASE="$BASE" --build-arg VERSION="$VERSION" --build-arg COMMIT="$COMMIT" --build-arg BUILD_DATE="$DATE" \
  --build-arg PIP_CERT="${PIP_CERT:-}" \
  --tag "$TAG" --file docker/Dockerfile . >/dev/null

mkdir -p build
rm -f build/secrets-store-csi.tar
buildah push --quiet "$TAG" "docker-archive:build/secrets-store-csi.tar:$TAG" >/dev/null
echo "build/secrets-store-csi.tar: $TAG, $(du -m build/secrets-store-csi.tar | cut -f1) MiB"
