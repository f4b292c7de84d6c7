SET ROLE holdfast_migrator;

-- What a trace did: the events of its requests.
CREATE INDEX audit_log_trace ON holdfast.audit_log (substr(event->>'traceparent', 4, 32), lsn)
    WHERE event->>'traceparent' IS NOT NULL;
RESET ROLE;
