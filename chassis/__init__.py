"""What every process of Skutrail needs, knowing no SKU, order or shipment: a microservice chassis.

config, logs, clock, ids      how a process is set up and how it speaks
errors                        the one error type and its table: code, HTTP status, gRPC status
database, migrate             engine, unit of work, schema
idempotency, outbox, inbox    the three tables that commit together with a service's own rows
jetstream, consumer, parking  streams and durable consumers, the loop that takes events, those it could not take
housekeeping                  forgets what has served its time
rpc                           gRPC server and channels, interceptors, health
process                       signals, readiness, drain
wire                          protobuf to JSON, the public way
"""
