output "id" {
  description = "The volume's id, vol-…."
  value       = aws_ebs_volume.home.id
}
