output "made" {
  description = "What the platform's own module is told of this region (its variable `regions`)."
  value = {
    cidr             = aws_vpc.region.cidr_block
    vpc_id           = aws_vpc.region.id
    peering_id       = aws_vpc_peering_connection.home.id
    zone             = aws_subnet.instances.availability_zone
    subnet_id        = aws_subnet.instances.id
    instances_cidr   = aws_subnet.instances.cidr_block
    doors_cidr       = aws_subnet.doors.cidr_block
    homes_key        = aws_kms_key.homes.arn
    quarantine_group = aws_security_group.quarantine.id
    ec2_door = {
      name = aws_vpc_endpoint.ec2.dns_entry[0].dns_name
      zone = aws_vpc_endpoint.ec2.dns_entry[0].hosted_zone_id
    }
  }
}
