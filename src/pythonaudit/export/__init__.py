"""What is recorded, in the forms that others take: evidence for outsiders, reports for people, events for targets.

evidence  sealed events and what proves them, in one file; offline: the program in it that checks them
report    the evidence for a period, as data; sealing: what the log says of it; verdict: whether it can be relied on
pci       PCI DSS 4, requirement 10: which of that evidence is for which requirement
document  the evidence as headings, paragraphs and tables; report_html, report_markdown: as text

shipping  asks the feed what comes next, hands it to a target, and notes in the cursor what was acknowledged
feed      the events that a target has not acknowledged; cursor: which it has
formats   events in the forms of others
otlp      events as OpenTelemetry has them; syslog: as RFC 5424 has them; levels, kept: what both need
targets   where events go: what a target is, and how one is found; then one file each
connect   connections to other hosts, and what goes wrong with them
"""
