# What a mirror's token may do, and no more: with any of these rules missing something fails.

# Register and deregister itself, as mirror-<app>.
service_prefix "mirror-" {
  policy = "write"
}

# See which services have the tag, and where their instances are. Writing is not part of it.
service_prefix "" {
  policy = "read"
}

# Their health and addresses are told only together with their nodes.
node_prefix "" {
  policy = "read"
}

# Live control: mirrorproxy/<name>/capture/percent and mirrorproxy/<name>/replay/<run>/...
key_prefix "mirrorproxy/" {
  policy = "read"
}
