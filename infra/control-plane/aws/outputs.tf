output "api_url" {
  description = "What people's `nightingale` is told: NIGHTINGALE_URL."
  value       = module.api.public_url
}

output "gateway" {
  description = "Where the SSH gateway listens, and the host key that clients pin."
  value       = { host = aws_lb.gateway.dns_name, port = 22, host_key = var.gateway_host_key }
}

output "settings" {
  description = "What the functions are told; an administrator's tools are told the same."
  value       = merge(local.environment, { AWS_REGION = var.region })

  # Lambda refuses more than 4096; the scan is told some names besides.
  precondition {
    condition     = sum([for name, value in local.environment : length(name) + length(value)]) <= 3800
    error_message = "What functions are told is longer than they take: fewer further regions, or fewer addresses."
  }
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

output "azure_role" {
  description = "NIGHTINGALE_AWS_ROLE of the second backend; null without one."
  value       = one(aws_iam_role.azure[*].arn)
}

output "second_backend" {
  description = "All that the second backend is told of this platform: `aws` of infra/control-plane/azure, but for the audience. `place` is what the place aws is, empty while nothing is launched there."
  value = {
    region            = var.region
    role_arn          = "arn:${local.partition}:iam::${local.account}:role/${local.second_backend}" # its name is told before it is made
    table             = aws_dynamodb_table.platform.name
    audit_bucket      = module.audit.bucket
    builds_bucket     = aws_s3_bucket.kept["builds"].id
    codebuild_project = local.builds_name
    place             = local.place
  }
}

output "azure_machine_role" {
  description = "NIGHTINGALE_AZURE_MACHINE_ROLE: what the API asks STS with whose token it is; null without instances in Azure."
  value       = one(aws_iam_role.azure_machines[*].arn)
}

output "azure_subjects" {
  description = "Whom Entra's federated credentials name: subjects of the two applications of azure_place."
  value = {
    functions = { for who, role in aws_iam_role.function : who => role.arn }
    builds    = aws_iam_role.builds.arn
  }
}

output "for_regions" {
  description = "What region/ is told of the platform's own region."
  value = {
    region     = var.region
    vpc_id     = aws_vpc.platform.id
    cidrs      = aws_subnet.inside[*].cidr_block
    api_hosts  = local.api_hosts_in_regions
    flows_role = aws_iam_role.flows.arn
  }
}
