"""Prints every record of some topics as a line of JSON, as kafka-python reads it: read.py BROKERS TOPIC...

`chosen` is the partition that this client would choose for the key."""

import json
import sys

from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner.default import murmur2

brokers, topics = sys.argv[1], sys.argv[2:]
consumer = KafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False)
for topic in topics:
    count = len(consumer.partitions_for_topic(topic))
    partitions = [TopicPartition(topic, number) for number in range(count)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                print(json.dumps({
                    "topic": record.topic,
                    "partition": record.partition,
                    "chosen": None if record.key is None else (murmur2(record.key) & 0x7FFFFFFF) % count,
                    "key": None if record.key is None else record.key.decode(),
                    "value": None if record.value is None else record.value.decode(),
                    "headers": {name: content.decode() for name, content in record.headers},
                }))
