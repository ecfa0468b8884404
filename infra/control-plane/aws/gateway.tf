# The SSH gateway: one small machine of its own identity behind a network load balancer, replaced when it fails. Not
# Fargate: that would want a registry for its image and two more endpoints, for more than twice the price. Its token and
# host key lie in SSM parameters that `./run deploy aws` writes: Terraform never sees them, so no state holds them.

data "aws_ssm_parameter" "gateway_image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

resource "aws_iam_role" "gateway" {
  name               = "${var.name}-gateway"
  description        = "The SSH gateway: its own program, token and host key"
  assume_role_policy = data.aws_iam_policy_document.assumed_by["ec2"].json
}

resource "aws_iam_role_policy" "gateway" {
  name   = "what-it-needs"
  role   = aws_iam_role.gateway.id
  policy = templatefile("${path.module}/policies/gateway.json", local.facts)
}

resource "aws_iam_instance_profile" "gateway" {
  name = "${var.name}-gateway"
  role = aws_iam_role.gateway.name
}

resource "aws_launch_template" "gateway" {
  name                   = "${var.name}-gateway"
  image_id               = data.aws_ssm_parameter.gateway_image.insecure_value
  instance_type          = var.gateway_machine_type
  update_default_version = true
  vpc_security_group_ids = [aws_security_group.gateway.id]

  user_data = base64encode(templatefile("${path.module}/gateway.sh", {
    region     = var.region
    package    = "s3://${aws_s3_bucket.kept["builds"].id}/${aws_s3_object.package["gateway"].key}"
    parameters = "/${var.name}/gateway"
    api_url    = module.api.private_url
    port       = local.gateway_port
  }))

  iam_instance_profile {
    arn = aws_iam_instance_profile.gateway.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      encrypted   = true
      kms_key_id  = aws_kms_key.homes.arn
      volume_size = 8
      volume_type = "gp3"
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-gateway", platform = var.name }
  }
}

resource "aws_lb" "gateway" {
  # checkov:skip=CKV_AWS_150: on, but for `./run destroy aws`, which says var.is_ending
  # checkov:skip=CKV_AWS_91: a network load balancer logs TLS listeners only; the gateway writes down every connection itself
  name                             = "${var.name}-gateway"
  load_balancer_type               = "network"
  security_groups                  = [aws_security_group.balancer.id]
  subnets                          = aws_subnet.public[*].id
  enable_cross_zone_load_balancing = true # one machine: either zone's address must reach it
  enable_deletion_protection       = !var.is_ending
}

resource "aws_lb_target_group" "gateway" {
  name     = "${var.name}-gateway"
  port     = local.gateway_port
  protocol = "TCP"
  vpc_id   = aws_vpc.platform.id

  health_check {
    protocol            = "TCP"
    healthy_threshold   = 2
    unhealthy_threshold = 2
    interval            = 10
  }
}

resource "aws_lb_listener" "gateway" {
  load_balancer_arn = aws_lb.gateway.arn
  port              = 22
  protocol          = "TCP"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}

resource "aws_autoscaling_group" "gateway" {
  name                      = "${var.name}-gateway"
  min_size                  = 1
  max_size                  = 2 # a new one stands before the old one goes
  desired_capacity          = 1
  vpc_zone_identifier       = aws_subnet.inside[*].id
  target_group_arns         = [aws_lb_target_group.gateway.arn]
  health_check_type         = "ELB"
  health_check_grace_period = 300
  service_linked_role_arn   = aws_iam_service_linked_role.scaling.arn
  wait_for_capacity_timeout = "0" # its token is written after this apply

  launch_template {
    id      = aws_launch_template.gateway.id
    version = aws_launch_template.gateway.latest_version
  }

  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 200
    }
  }

  tag {
    key                 = "Name"
    value               = "${var.name}-gateway"
    propagate_at_launch = true
  }
}
