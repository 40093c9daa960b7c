"""The local Log Service: the projects, logstores and indexes that a deployment needs; it takes in no logs."""
