"""SecretProviderClassPodStatus objects: ``store`` knows those of the node's volumes and when each is written,
``written_status`` makes the calls that write one, ``claims`` reads those of an earlier driver at start."""
