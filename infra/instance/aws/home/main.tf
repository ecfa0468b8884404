# A person's home: one encrypted volume that outlives every machine it is attached to.
#
# It goes with `desired_state = absent` and in no other way. Everything that would make Terraform replace the volume is
# ignored once it is there: a new snapshot, key or zone in the variables is for the next home, not for this one. So the
# only plan that destroys it is the one without this module; the build runner asks before such a plan.
#
# Nothing is kept of it (final_snapshot = false): who deletes an instance is told that the home goes too, and a copy
# that no instance owns would be paid for, and hold data, with nobody to answer for it. What shall stay is snapshotted
# before, and named in home_snapshot_id of the next instance.

resource "aws_ebs_volume" "home" {
  # checkov:skip=CKV_AWS_189: the key comes from network's owner (var.kms_key); without one the account's own key for EBS encrypts
  availability_zone = var.availability_zone
  type              = "gp3"
  size              = var.gib
  snapshot_id       = var.snapshot_id != "" ? var.snapshot_id : null
  encrypted         = true
  kms_key_id        = var.kms_key
  final_snapshot    = false

  tags = { Name = var.name, "nightingale:part" = "home" }

  lifecycle {
    ignore_changes = [availability_zone, encrypted, kms_key_id, snapshot_id]

    # Said here in words: AWS would say only that volume and machine are not in the same zone.
    postcondition {
      condition     = self.availability_zone == var.availability_zone
      error_message = "The home ${self.id} lies in ${self.availability_zone} and the network names ${var.availability_zone}. A volume cannot leave its zone: put the subnet of its zone back into the place's network, or snapshot the home and launch a new instance from it."
    }
  }
}
