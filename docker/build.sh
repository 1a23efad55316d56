#!/usr/bin/env bash
# Builds the image without a docker daemon and writes build/secrets-store-csi.tar, a docker archive.
#
#   BUILDER  the image that builds, by its digest (NAME@sha256:…), see the Dockerfile; without it the Dockerfile's, and
#            where no registry gives that, a Debian made by debootstrap, once, into the cache. None of it is in the image.
#   STRICT   1: fail if the Debian archive no longer has a locked version (a release is built so)
#   MIRROR, SECURITY_MIRROR  addresses of Debian's archive, or of a snapshot of it; by default what this machine's apt uses
#   TAG      name of the image in the archive (default secrets-store-csi:VERSION)
#   OUTPUT   the archive (default build/secrets-store-csi.tar)
#
# With --print-tag it prints TAG and builds nothing. With --lock it renews docker/debian.lock and builds nothing: the
# newest version of each package of docker/packages.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/secrets-store-csi"
SUITE=trixie
RECIPE=2  # of the local builder; a new number makes it again
LOCAL_BUILDER="localhost/secrets-store-builder:$SUITE-$RECIPE"
OUTPUT="${OUTPUT:-build/secrets-store-csi.tar}"
VERSION=$(sed -n 's/^version = //p' setup.cfg)
TAG="${TAG:-secrets-store-csi:$VERSION}"
case "${1:-}" in
  "" | --lock) ;;
  --print-tag) echo "$TAG"; exit ;;
  *) echo "build.sh: unknown argument $1: --lock and --print-tag are known; all else is set by environment variables" >&2; exit 2 ;;
esac
COMMIT=$(git rev-parse HEAD 2>/dev/null || echo unknown)$([ -z "$(git status --porcelain 2>/dev/null)" ] || echo -dirty)
# The commit's own time: two builds of one commit carry the same date.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
DATE=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

fail() {
  echo "build.sh: $1" >&2
  exit 1
}

for tool in buildah tar; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install buildah debootstrap"
done

# The archive's address, as this machine's own apt has it, so that no address stands here. $1: the suite, on this machine.
mirror_of() {
  { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
    awk -v suite="$1" '/^URIs:/ { uri = $2 } /^Suites:/ { for (i = 2; i <= NF; i++) if ($i == suite) print uri }
      /^deb / { sub(/\[[^]]*\] */, ""); if ($3 == suite) print $2 }' | sed -n 1p
}

here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
mirror="${MIRROR:-$(mirror_of "$here")}" security="${SECURITY_MIRROR:-$(mirror_of "$here-security")}"

make_builder() {
  command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
  local root="$CACHE/builder-$SUITE-$RECIPE.tar" work container
  if [ ! -f "$root" ]; then
    [ -n "$mirror" ] || fail "no mirror of Debian's archive in /etc/apt: name one, MIRROR=http://…"
    work=$(mktemp -d)
    mkdir -p "$CACHE"
    debootstrap --variant=minbase --include=ca-certificates,python3-venv "$SUITE" "$work" "$mirror" >"$CACHE/debootstrap.log" ||
      fail "debootstrap failed: $CACHE/debootstrap.log"
    rm -rf "$work"/var/cache/apt/* "$work"/var/lib/apt/lists/* "$work"/usr/share/{doc,man,locale}/* "$work"/dev/*
    tar --numeric-owner -C "$work" -cf "$root.draft" .
    mv "$root.draft" "$root"
    rm -rf "$work"
  fi
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$root" / >/dev/null
  buildah commit --quiet --rm "$container" "$LOCAL_BUILDER" >/dev/null
}

has_image() {
  buildah inspect --type image "$1" >/dev/null 2>&1
}

if [ -n "${BUILDER:-}" ]; then
  [[ "$BUILDER" == localhost/* || "$BUILDER" == *@sha256:* ]] ||
    fail "BUILDER=$BUILDER: a tag may name another image tomorrow: give the digest, NAME@sha256:…"
else
  BUILDER=$(sed -n 's/^ARG BUILDER=//p' docker/Dockerfile)
  if has_image "$LOCAL_BUILDER" || ! timeout 120 buildah pull --quiet "$BUILDER" >/dev/null 2>&1; then
    has_image "$LOCAL_BUILDER" || {
      echo "build.sh: no registry gives $BUILDER: debootstrap makes the builder" >&2
      make_builder
    }
    BUILDER="$LOCAL_BUILDER"
  else
    BUILDER="${BUILDER%:*}@$(buildah inspect --type image --format '{{.FromImageDigest}}' "$BUILDER")"
  fi
fi
echo "build.sh: builder $BUILDER" >&2

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
mkdir -p "$CACHE/debs"
mounts=(--volume "$CACHE/debs:/var/cache/image-debs")
if [ -n "${MIRROR:-}" ] || [ "$BUILDER" = "$LOCAL_BUILDER" ]; then
  options=""
  [ -z "${MIRROR:-}" ] || options="[check-valid-until=no] "  # the index of a snapshot has expired
  {
    echo "deb $options$mirror $SUITE main"
    echo "deb $options$mirror $SUITE-updates main"
    [ -z "$security" ] || echo "deb $options$security $SUITE-security main"
  } >"$SECRETS/sources.list"
  mounts+=(--volume "$SECRETS/sources.list:/etc/apt/image.list:ro")
fi
[ ! -f /etc/ssl/certs/ca-certificates.crt ] || mounts+=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)

if [ "${1:-}" = --lock ]; then
  container=$(buildah from "$BUILDER")
  buildah run "${mounts[@]}" --volume "$PWD/docker:/src/docker" --workingdir /src "$container" -- python3.13 -B -m docker.debian_lock ||
    { buildah rm "$container" >/dev/null; exit 1; }
  buildah rm "$container" >/dev/null
  exit
fi

image_id() {
  buildah inspect --type image --format '{{.FromImageID}}' "$1" 2>/dev/null || true
}

previous=$(image_id "$TAG")
buildah bud --quiet --layers=false --timestamp "$SOURCE_DATE_EPOCH" --secret "id=pip.conf,src=$SECRETS/pip.conf" \
  "${mounts[@]}" --build-arg BUILDER="$BUILDER" --build-arg STRICT="${STRICT:-0}" \
  --build-arg VERSION="$VERSION" --build-arg COMMIT="$COMMIT" --build-arg BUILD_DATE="$DATE" \
  --tag "$TAG" --file docker/Dockerfile . >/dev/null

# The image that had the tag before would stay behind without a name, once for every build.
[ -z "$previous" ] || [ "$previous" = "$(image_id "$TAG")" ] || buildah rmi "$previous" >/dev/null 2>&1 || true

mkdir -p "$(dirname "$OUTPUT")"
rm -f "$OUTPUT"
buildah push --quiet "$TAG" "docker-archive:$OUTPUT:$TAG" >/dev/null
echo "$OUTPUT: $TAG, $(du -m "$OUTPUT" | cut -f1) MiB"
