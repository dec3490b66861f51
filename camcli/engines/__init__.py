"""A run past one process: shards, and several processes on this machine.

``run``        what ``cam run`` does: this process alone, as a shard, or at the head of others
``placement``  which shard and which GPU a process of torchrun or Slurm has; how processes share a machine
``processes``  the head of several processes: each explains one shard
``child``      one of them
``ray_engine`` a run on a Ray cluster (``ray_cluster``): its ``ray_head``, its ``ray_workers``, each a ``unit_worker``
``merge``      the shards of a run become its index
``shard_rows`` the rows of any number of shards
``missing``    which shards and images are not there

Imports nothing itself: ``cam merge`` must not wait for torch.
"""
