"""Bounds on what others send, in one place. Those that people may have to raise are flags (``driver.config``)."""

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""A request to the driver: attributes, the pod's tokens and a Secret, of which the API server allows 1 MiB each."""

MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES = 1024, 256 * 1024
"""The volume attributes of a publish, kubelet's included: names and values together. Pods have some dozens."""

MAX_PROVIDERS = 64
"""Providers to which a connection is kept; of more, the one that was called first is closed."""

MAX_CLASS_ENTRIES = 16_384
"""Parameters of a class, its secretObjects and files, and the entries of each. Classes have some dozens; an empty one
is two characters for the API server, and takes hundreds of bytes of memory."""

MAX_SECRET_BYTES = 1024 * 1024
"""The data of one Secret: the API server's own limit."""

MAX_COMPOSED_FILES = 64
"""Files that a class composes from several objects (``spec.files``)."""

MAX_COMPOSED_OBJECTS = 256
"""Objects in one such file, and placeholders in its template."""

MAX_COMPOSED_BYTES, MAX_ALL_COMPOSED_BYTES = 1024 * 1024, 4 * 1024 * 1024
"""The size of one such file, and of its objects together; and of all such files of a class. A class may name one object
in each of them, and a format may make six characters of one."""

LARGE_COMPOSITION_BYTES = 64 * 1024
"""Files that may become larger than this together are composed beside the event loop, with their memory reserved."""

COMPOSED_EXPANSION = 6
"""The most characters that a format or a filter makes of one byte (``\\u0001``)."""

MAX_SECRET_OBJECTS = 256
"""Secrets that one class asks for (flag ``--max-secret-objects``). Each is read every few minutes by each node."""

MAX_SECRET_KEYS, MAX_SECRET_KEYS_BYTES = 1024, 96 * 1024
"""Keys of one Secret, and their lengths together: they are also in an annotation, and the API server takes annotations
of 256 KiB in all."""

MAX_KEY_SOURCES = 64
"""Whole objects whose entries become keys of one Secret (``dataFrom``): each is parsed."""

PARSE_SECONDS = 5.0
"""How long the parser may take for one Secret, by the clock; a third of that in CPU time."""

PARSE_CPU_SECONDS = 2
"""CPU time of the parser for one Secret."""

PARSE_MEMORY_BYTES = 192 * 1024 * 1024
"""Private memory of the parser's process (RLIMIT_DATA); it needs 20 MiB."""

PARSE_IDLE_SECONDS = 30.0
"""The parser's process ends when it had nothing to do for so long."""

PARSE_REMEMBERED = 1024
"""How many contents that the parser could not digest are remembered, so that they are not tried again."""

MAX_KEY_DERIVATION_ROUNDS = 10_000_000
"""Rounds of a PKCS#12 file's key derivation. OpenSSL writes 2,048, careful people a million; a round takes a
microsecond."""

MAX_MESSAGE_BYTES = 2**31 - 1
"""Of any gRPC message: gRPC counts its length in 32 bits, and protobuf has the same limit."""

MAX_VOLUME_ENTRIES = 4096
"""Files and directories of one volume's content (flag ``--max-volume-entries``). Providers send some hundreds of files
at most; each entry costs about 1 KiB of the kernel's memory, which no ``size`` limits, and each file that is not
empty a page of 4 KiB."""

MAX_FLAG_VOLUME_ENTRIES = 1_000_000_000
"""The flag's own limit: the kernel takes a number of inodes that does not fit into 64 bits for another one."""

INODES_PER_ENTRY = 4
"""Inodes of a volume's tmpfs for each entry: the old and the new content, each with a symlink for every top-level
name, exist together for a moment."""

SPARE_INODES = 64
"""Inodes of a volume's tmpfs for its own directories, symlinks and record."""

MAX_PATH_DEPTH = 32
"""Components of a file's path in a volume."""

LARGE_COMMIT_ENTRIES = 256
"""Content with more entries is written by a thread of its own, so that other volumes do not wait for it."""

LARGE_COMMIT_BYTES = 1024 * 1024
"""Content with more bytes is, too."""

LONG_REPLY_ITEMS = 64
"""A provider's reply with more files and versions is checked by it, too."""

LONG_TEXT_CHARACTERS = 512
"""A provider's error text with more characters is searched for secrets by it, too."""

SMALL_REPLY_BYTES = 256 * 1024
"""A reply of a provider up to this size is received beside many others."""

SMALL_REPLIES_OF_ONE = 64
"""So many of them are waited for at a time, for one namespace."""

LARGE_REPLIES, LARGE_REPLIES_OF_ONE = 4, 2
"""So many larger ones, for the node and for one namespace."""

REPLY_COPIES = 3
"""How often the content of a reply is in memory until it is written, besides the volume: as received, as a message, and
as files."""

MAX_HELD_REPLIES, MAX_HELD_REPLIES_OF_ONE = 1024, 256
"""Replies of providers that are kept for classes with ``share-fetch`` or ``last-known-good``, of all namespaces and of
one: one for each class and service account, mostly."""

MAX_HELD_BYTES, MAX_HELD_BYTES_OF_ONE = 16 * 1024 * 1024, 4 * 1024 * 1024
"""The memory that they take."""

MAX_LARGE_SUBJECTS = 1024
"""For how many classes it is remembered that their replies are large."""

LARGE_VOLUME_INODES = 1024
"""A volume with more inodes is removed by it, too."""

MAX_VERSION_BYTES = 4096
"""The id, and the version, of one object in a provider's reply."""

MAX_VERSIONS_BYTES = 512 * 1024
"""All ids and versions of a reply: they are written to a pod status, and the API server takes objects of 1.5 MiB at
most."""

MAX_PROVIDER_LABELS = 64
"""Names of providers in metrics that have published a volume."""

MAX_FAILED_PROVIDER_LABELS = 32
"""Names of providers in metrics that have not published any volume yet: most of them do not exist."""

MAX_ERROR_TYPE_LABELS = 64
"""Error types in metrics, providers' own error codes included."""

MAX_PROVIDER_ERROR_BYTES = 1024 * 1024
"""A provider's error text on its way to the driver; it is shown shortened. Some providers send the error of each object
twice, which is more than gRPC's default of 8 KiB."""

MAX_REMEMBERED_WARNINGS = 1024
"""Classes for which it is remembered that a warning about them was given."""

MAX_PENDING_SHOWN = 128
"""Volumes that could not be published yet of which the status page knows. Kubelet has 110 pods on a node by default."""

MAX_SECRETS_SHOWN = 256
"""Synced Secrets of which it knows; those that fail come first."""

POD_EVENTS_BURST, POD_EVENTS_SECONDS = 25, 60.0
"""Events of one pod: so many at once, then one each so many seconds. kubelet's own bound is similar."""

NAMESPACE_EVENTS_BURST, NAMESPACE_EVENTS_SECONDS = 200, 2.0
"""Events of all pods of a namespace: less than those of the node, so that others' events come through."""

NODE_EVENTS_BURST, NODE_EVENTS_SECONDS = 300, 1.0
"""Events of all pods of the node."""

EVENT_SUMMARY_SECONDS = 60.0
"""How often events say how many others were not sent."""

MAX_EVENT_SUMMARIES = 10
"""For how many pods they say so each time."""

MAX_EVENT_PODS = 1024
"""For how many pods, and namespaces, events are limited, and for how many pods they are counted."""

MEMORY_HEADROOM_PART = 10
"""By default a tenth of the container's memory limit is kept free of volumes."""

MIN_MEMORY_HEADROOM = 16 * 1024 * 1024
"""At least so many bytes of it are."""

MAX_RECORD_BYTES = 64 * 1024
"""The record in a volume: the kernel's limit for the value of an extended attribute."""

MAX_RECORDED_VERSIONS_BYTES = 32 * 1024
"""The ids and versions of a volume's objects in its record, as JSON."""

STATUS_PAGE = 10
"""Pod statuses that are read at once after a restart. Anybody's may be among them, of up to 1.5 MB each and ten times
as much when parsed."""

MAX_SIBLING_STATUSES, MAX_SIBLING_PODS = 1000, 20
"""Pod statuses of a namespace, and pods with other content among them, that are read to find out whether the content of
a workload differs from pod to pod."""

PODS_AT_ONCE = 4
"""Pods that are read at a time, and held in memory, to confirm pod statuses."""

SHOWN_OBJECTS = 20
"""How many of the objects that a rotation changed are named in the log."""

SHOWN_STATUSES = 5
"""How many pod statuses that no pod confirms are named in the log."""

MAX_YAML_NODES = 100_000
"""Values in one document of a manifest, with its aliases written out."""
