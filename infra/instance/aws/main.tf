# One instance in AWS: a private EC2 machine, its security group, its datasets' volumes, and a home that outlives them.
#
#                  home    security group   machine              datasets' volumes
#   running        yes     yes              running              yes
#   stopped        yes     yes              stopped; spot: none  no: they are made of their snapshots again
#   absent         no      no               no                   no

provider "aws" {
  region = var.network.region

  # The provider takes "no capacity" for something to try again: with its own 25 attempts a person would wait for
  # minutes to be told. The build runner tries the next place instead.
  max_retries = var.network.max_retries

  # Tests only: a stand-in of AWS has no account to ask about.
  skip_credentials_validation = local.is_stand_in
  skip_requesting_account_id  = local.is_stand_in
  skip_metadata_api_check     = local.is_stand_in

  dynamic "endpoints" {
    for_each = local.is_stand_in ? [var.network.endpoint] : []
    content {
      ec2 = lookup(endpoints.value, "ec2", null)
      iam = lookup(endpoints.value, "iam", null)
      kms = lookup(endpoints.value, "kms", null)
      s3  = lookup(endpoints.value, "s3", null)
      sts = lookup(endpoints.value, "sts", null)
    }
  }

  default_tags {
    tags = merge(var.tags, local.whose)
  }
}

locals {
  is_stand_in = var.network.endpoint != null
  is_absent   = var.desired_state == "absent"
  is_running  = var.desired_state == "running"
  port        = 8888
  label       = "nightingale-${var.instance_id}"

  # What the control plane's policies go by.
  whose = {
    for tag, value in {
      "nightingale:instance" = var.instance_id
      "nightingale:owner"    = var.owner
      "nightingale:platform" = var.network.platform
      "nightingale:project"  = var.project
    } : tag => value if value != null
  }

  # A spot machine cannot be kept stopped, see its market options below: stopped means that there is none.
  has_machine = local.is_running || (var.desired_state == "stopped" && !var.spot)

  # The strictest of what is mounted decides.
  tier = max(concat([0], [for d in var.datasets : d.tier])...)

  by_name = { for d in var.datasets : d.dataset => d }
  on_ebs  = { for name, d in local.by_name : name => trimprefix(d.source, "ebs:") if startswith(d.source, "ebs:") }
  on_efs  = { for name, d in local.by_name : name => trimprefix(d.source, "efs:") if startswith(d.source, "efs:") }
  on_s3   = { for name, d in local.by_name : name => trimprefix(d.source, "s3:") if startswith(d.source, "s3:") }

  # EC2 recommends sdf to sdp for volumes. On Nitro they appear as NVMe disks; udev of the image links these names.
  home_device = "/dev/sdf"
  ebs_device = {
    for index, name in sort(keys(local.on_ebs)) : name => "/dev/sd${substr("ghijklmnop", index, 1)}"
  }

  # What the machine is told (README.md, "What the machine is told"). It carries no secret: whoever runs code on the
  # machine can read it. It is the same for all of a machine's life, so nothing that changes with a start is in it.
  told = {
    format      = 1
    place       = "aws"
    region      = var.network.region
    instance_id = var.instance_id
    name        = var.name
    owner       = var.owner
    owner_uid   = var.network.owner_uid
    project     = var.project
    tier        = local.tier
    image       = var.image
    container   = var.network.container
    api_url     = var.network.api_url
    port        = local.port
    is_spot     = var.spot
    home = {
      device           = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${replace(one(module.home[*].id) == null ? "" : module.home[0].id, "-", "")}"
      mount            = "/srv/nightingale/home"
      is_from_snapshot = var.home_snapshot_id != ""
    }
    datasets = [
      for d in var.datasets : {
        dataset = d.dataset
        version = d.version
        tier    = d.tier
        kind    = split(":", d.source)[0]
        source  = lookup(local.ebs_device, d.dataset, join(":", slice(split(":", d.source), 1, length(split(":", d.source)))))
        mount   = "/srv/nightingale/data/${d.dataset}"
      }
    ]
  }
}

module "home" {
  source = "./home"
  count  = local.is_absent ? 0 : 1

  name              = "${local.label} home of ${var.owner}"
  availability_zone = var.network.availability_zone
  gib               = var.home_gib
  snapshot_id       = var.home_snapshot_id
  kms_key           = var.kms_key
}

# --- the network ------------------------------------------------------------------------------------------------------

data "aws_vpc" "this" {
  count = local.has_machine && length(local.on_efs) > 0 ? 1 : 0
  id    = var.network.vpc_id
}

data "aws_prefix_list" "s3" {
  count = local.has_machine && length(local.on_s3) > 0 ? 1 : 0
  name  = "com.amazonaws.${var.network.region}.s3"
}

# The rules stand inside the group and not as resources of their own: so a rule that somebody added by hand is seen by
# the next plan and taken out. AWS's resolver, clock and metadata service are not held by security groups.
resource "aws_security_group" "machine" {
  count = local.is_absent ? 0 : 1

  name        = local.label
  description = "Nightingale instance ${var.instance_id}: in from gateway and watcher, out to the API"
  vpc_id      = var.network.vpc_id
  tags        = { Name = local.label }

  ingress {
    description     = "Jupyter, from the gateway and whoever watches it"
    protocol        = "tcp"
    from_port       = local.port
    to_port         = local.port
    security_groups = compact([var.network.gateway_security_group_id, var.network.api_security_group_id])
    cidr_blocks     = var.network.gateway_cidrs
  }

  egress {
    description = "The API of the platform"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = var.network.api_cidrs
  }

  dynamic "egress" {
    for_each = var.network.packages == null ? [] : [split(":", var.network.packages.address)]
    content {
      description = "The package index"
      protocol    = "tcp"
      from_port   = tonumber(egress.value[1])
      to_port     = tonumber(egress.value[1])
      cidr_blocks = ["${egress.value[0]}/32"]
    }
  }

  dynamic "egress" {
    for_each = data.aws_vpc.this
    content {
      description = "Datasets on EFS, whose mount targets lie in the network"
      protocol    = "tcp"
      from_port   = 2049
      to_port     = 2049
      cidr_blocks = [egress.value.cidr_block]
    }
  }

  dynamic "egress" {
    for_each = data.aws_prefix_list.s3
    content {
      description     = "Datasets on S3, through the endpoint of the network"
      protocol        = "tcp"
      from_port       = 443
      to_port         = 443
      prefix_list_ids = [egress.value.id]
    }
  }
}

# --- the machine ------------------------------------------------------------------------------------------------------

# A retry is a new machine: a broken root disk, a lost start-up and failing hardware are all left behind by it, and the
# home moves over. Only an *update* of this triggers that. "running" is made by a start and removed by a stop, and neither
# counts, so a stopped machine starts as it is (its root disk is warm) although each build has a new generation.
# "always" never changes: Terraform refuses a trigger of which there is none.
resource "terraform_data" "retry" {
  for_each = toset(local.is_running ? ["always", "running"] : local.is_absent ? [] : ["always"])
  input    = each.key == "running" ? var.generation : 0
}

resource "aws_instance" "machine" {
  # checkov:skip=CKV_AWS_126: detailed monitoring is paid by machine; the platform watches each of its instances every second
  count = local.has_machine ? 1 : 0

  ami                         = var.image
  instance_type               = var.machine_type
  subnet_id                   = var.network.subnet_id
  vpc_security_group_ids      = [aws_security_group.machine[0].id]
  associate_public_ip_address = false
  iam_instance_profile        = var.network.instance_profile
  ebs_optimized               = true

  user_data = templatefile("${path.module}/cloud-init.yaml.tftpl", {
    # ASCII and nothing that ends a YAML string, whatever a name may hold one day.
    instance_json = base64encode(jsonencode(local.told))
  })
  # What it was told is read once, at its first start: other datasets are another machine.
  user_data_replace_on_change = true

  # Terraform takes this off before it terminates; nobody ends a machine in the console by mistake. EC2 has no such
  # protection for spot. From inside, a shutdown stops it (spot: ends it, there is nothing else).
  disable_api_termination              = !var.spot
  instance_initiated_shutdown_behavior = var.spot ? "terminate" : "stop"

  # Tokens only, and no answer reaches further than the machine itself: a container's bridge is one hop too many.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  # One-time and terminate, not persistent and stop. A persistent request is a second owner: AWS would start the machine
  # again by itself, behind Terraform's state and the meter, and goes on to do so after a termination unless somebody
  # cancels it. Nothing is lost by termination: the home is a volume of its own, never deleted with a machine, and a
  # relaunch, when asked for, is the platform's.
  dynamic "instance_market_options" {
    for_each = var.spot ? [1] : []
    content {
      market_type = "spot"
      spot_options {
        spot_instance_type             = "one-time"
        instance_interruption_behavior = "terminate"
      }
    }
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.root_gib > 0 ? var.root_gib : null
    encrypted             = true
    kms_key_id            = var.kms_key
    delete_on_termination = true # nobody's data: homes and datasets are volumes of their own
  }

  tags = { Name = "${local.label} ${var.name} of ${var.owner}", "nightingale:generation" = tostring(var.generation) }

  lifecycle {
    replace_triggered_by = [terraform_data.retry]

    # Quarantine swaps the group at once, by the SDK: a build that stops the machine then must not let it out. The rules
    # inside the machine's own group stay Terraform's.
    ignore_changes = [vpc_security_group_ids]

    # Stopping one that was given a public address by hand must work.
    postcondition {
      condition     = !local.is_running || (self.public_ip == "" && length(self.ipv6_addresses) == 0)
      error_message = "The machine ${self.id} has an address outside the private network. Instances never have one: take the elastic or IPv6 address away, and see that the subnet gives out none."
    }
  }
}

resource "aws_volume_attachment" "home" {
  count = local.has_machine ? 1 : 0

  device_name = local.home_device
  volume_id   = module.home[0].id
  instance_id = aws_instance.machine[0].id

  # A machine that is replaced is shut down first, so that its home is whole.
  stop_instance_before_detaching = true
}

# --- datasets on disks ------------------------------------------------------------------------------------------------

# Each machine has volumes of its own: a snapshot holds the dataset, and a volume that only waits is paid for nothing.
resource "aws_ebs_volume" "dataset" {
  # checkov:skip=CKV_AWS_189: the key comes from network's owner (var.kms_key); without one the account's own key for EBS encrypts
  for_each = local.is_running ? local.on_ebs : {}

  availability_zone = var.network.availability_zone
  type              = "gp3"
  snapshot_id       = each.value
  encrypted         = true
  kms_key_id        = var.kms_key

  tags = { Name = "${local.label} dataset ${each.key}", "nightingale:part" = "dataset" }
}

resource "aws_volume_attachment" "dataset" {
  for_each = aws_ebs_volume.dataset

  device_name = local.ebs_device[each.key]
  volume_id   = each.value.id
  instance_id = aws_instance.machine[0].id

  # A mounted volume cannot be detached.
  stop_instance_before_detaching = true
}

# --- running or stopped -----------------------------------------------------------------------------------------------

resource "aws_ec2_instance_state" "machine" {
  count = local.has_machine && !var.spot ? 1 : 0

  instance_id = aws_instance.machine[0].id
  state       = local.is_running ? "running" : "stopped"

  # All disks are there before it starts again.
  depends_on = [aws_volume_attachment.home, aws_volume_attachment.dataset]

  lifecycle {
    # The provider starts a machine whose type it changed, stopped or not, and then takes it for stopped as before: made
    # anew, this stops it again.
    replace_triggered_by = [aws_instance.machine[count.index].instance_type]
  }
}
