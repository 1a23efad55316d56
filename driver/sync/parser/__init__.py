"""What a store delivers is parsed in a process of its own, which can be killed.

A parser written in C does not let go of the interpreter while it works. A PKCS#12 file that asks for two thousand
million rounds of key derivation, or an RSA key of 400,000 bits, would stop Probe, every publish and every unpublish of
the node for hours, and again after each restart. So ``client`` asks ``worker``, in a ``process`` that is started when
there is something to parse, has limits of size, time and memory, is killed when one is exceeded, and ended when it is
idle. The end of the worker is a failure of one Secret. The worker has no privileges, and imports ``cryptography`` so
that the driver need not.
"""
