"""The same records through OpenTelemetry's own SDK: run by bench/export.py, in an environment that has it.

usage: python export_sdk.py http|grpc PORT FILE

FILE has a record a line, as JSON. Prints seconds, and seconds of processor time, from the first record to the last answer.
"""

import json
import sys
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

BATCH = 2048  # more are over the 4 MiB of a message of gRPC


def main() -> None:
    way, port, file = sys.argv[1:]
    if way == "http":
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

        exporter = OTLPLogExporter(f"http://127.0.0.1:{port}/v1/logs", compression=Compression.Gzip)
    else:
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

        exporter = OTLPLogExporter(f"127.0.0.1:{port}", insecure=True, compression=Compression.Gzip)
    with open(file, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    provider = LoggerProvider(Resource(records[0]["resource"]))
    processor = BatchLogRecordProcessor(exporter, 1000, BATCH, 60_000, max_queue_size=len(records) + 1)
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("pythonaudit")
    begin, used = time.perf_counter(), time.process_time()
    for record in records:
        logger.emit(
            LogRecord(
                timestamp=record["time_ns"],
                severity_number=SeverityNumber(record["severity"]),
                severity_text=record["level"],
                body=record["body"],
                attributes=record["attributes"],
                event_name=record["event"],
            )
        )
    provider.force_flush(60_000)
    print(time.perf_counter() - begin, time.process_time() - used)
    provider.shutdown()


if __name__ == "__main__":
    main()
