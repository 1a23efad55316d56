"""supervisord that forks its programs from one warm process: see ``supervise``."""
