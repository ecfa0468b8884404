# What may be read in S3, as policies: what the platform is told and nothing else. Nothing is made here. Instances read
# datasets so, the scan the logs of clouds.

terraform {
  required_version = ">= 1.11, < 2.0.0"
}

variable "folders" {
  description = "Buckets, or folders in them: `bucket` or `bucket/folder`."
  type        = set(string)
}

variable "partition" {
  description = "AWS's partition."
  type        = string
}

locals {
  is_any = length(var.folders) > 0

  # Bucket to the folders in it; of a bucket that is named whole, "" is one.
  by_bucket = {
    for one in sort(tolist(var.folders)) : split("/", one)[0] => trim(join("/", slice(split("/", one), 1, length(split("/", one)))), "/")...
  }
  arn         = "arn:${var.partition}:s3:::"
  bucket_arns = [for bucket, _ in local.by_bucket : "${local.arn}${bucket}"]
  object_arns = flatten([
    for bucket, folders in local.by_bucket :
    contains(folders, "") ? ["${local.arn}${bucket}/*"] : [for one in folders : "${local.arn}${bucket}/${one}/*"]
  ])

  read = { Sid = "Read", Effect = "Allow", Action = ["s3:GetObject"], Resource = local.object_arns }
  list = [
    for index, bucket in keys(local.by_bucket) : merge(
      { Sid = "List${index}", Effect = "Allow", Action = ["s3:ListBucket"], Resource = ["${local.arn}${bucket}"] },
      {
        for element, wanted in { Condition = { StringLike = { "s3:prefix" = [for one in local.by_bucket[bucket] : "${one}/*"] } } } :
        element => wanted if !contains(local.by_bucket[bucket], "")
      },
    )
  ]
  allowed = concat([local.read], local.list)

  # A denial counts against everything, also against a bucket's own policy that lets the role in.
  nothing = [{ Sid = "Nothing", Effect = "Deny", Action = "*", Resource = "*" }]
  nothing_else = [
    { Sid = "NothingElse", Effect = "Deny", NotAction = ["s3:GetObject", "s3:ListBucket"], Resource = "*" },
    { Sid = "NothingElsewhere", Effect = "Deny", Action = "*", NotResource = concat(local.object_arns, local.bucket_arns) },
  ]
}

output "policy" {
  description = "What the instances' role is given; null: nothing."
  value       = local.is_any ? jsonencode({ Version = "2012-10-17", Statement = local.allowed }) : null
}

output "boundary" {
  description = "The most that it can ever do."
  value = (
    local.is_any
    ? jsonencode({ Version = "2012-10-17", Statement = concat(local.allowed, local.nothing_else) })
    : jsonencode({ Version = "2012-10-17", Statement = local.nothing })
  )
}

output "passing" {
  description = "What the endpoint of the instances' network lets through, whoever asks; null: there is none."
  value = (
    local.is_any
    ? jsonencode({ Version = "2012-10-17", Statement = [for one in local.allowed : merge(one, { Principal = "*" })] })
    : null
  )
}
