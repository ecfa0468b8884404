output "api_url" {
  description = "What people's `nightingale` is told: NIGHTINGALE_URL."
  value       = module.api.public_url
}

output "gateway" {
  description = "Where the SSH gateway listens, and the host key that clients pin."
  value       = { host = aws_lb.gateway.dns_name, port = 22, host_key = var.gateway_host_key }
}

output "network" {
  description = "The `network` variable of infra/instance/aws, by availability zone."
  value = {
    for subnet in aws_subnet.instances : subnet.availability_zone => {
      region                    = var.region
      vpc_id                    = aws_vpc.platform.id
      subnet_id                 = subnet.id
      availability_zone         = subnet.availability_zone
      gateway_security_group_id = aws_security_group.gateway.id
      api_security_group_id     = aws_security_group.watchers.id
      api_cidrs                 = [aws_subnet.inside[0].cidr_block] # where the private API's endpoint is
      api_url                   = module.api.private_url
      instance_profile          = aws_iam_instance_profile.instance.name
      max_retries               = 3
    }
  }
}

output "homes_key" {
  description = "The `kms_key` variable of infra/instance/aws."
  value       = aws_kms_key.homes.arn
}

output "quarantine_security_group_id" {
  description = "What an instance in quarantine gets instead of its own group."
  value       = aws_security_group.quarantine.id
}

output "settings" {
  description = "What the functions are told; an administrator's tools are told the same."
  value       = merge(local.environment, { AWS_REGION = var.region })
}

output "buckets" {
  description = "The platform's buckets."
  value = {
    state  = aws_s3_bucket.kept["state"].id
    builds = aws_s3_bucket.kept["builds"].id
    audit  = module.audit.bucket
  }
}

output "parameters" {
  description = "Under which the gateway's token and host key are written, by SDK."
  value       = "/${var.name}/gateway"
}

output "data_key" {
  description = "What they are encrypted with."
  value       = aws_kms_key.data.arn
}
