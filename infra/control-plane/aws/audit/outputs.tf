output "bucket" {
  description = "The audit log's bucket."
  value       = aws_s3_bucket.audit.id
}

output "bucket_arn" {
  description = "Its ARN."
  value       = aws_s3_bucket.audit.arn
}

output "key_arn" {
  description = "The key that its records are encrypted with."
  value       = aws_kms_key.audit.arn
}
