# Which names the network's resolver answers.

terraform {
  required_version = ">= 1.11, < 2.0.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "name" {
  description = "What every name begins with."
  type        = string
}

variable "region" {
  description = "Whose AWS names are answered."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "also" {
  description = "Further names that are answered, each whole."
  type        = list(string)
  default     = []
}

variable "others" {
  description = "Names of others that are answered, each whole, and whatever they are only other names for."
  type        = list(string)
  default     = []
}

# A question to a name server is a way out too: only names of AWS in this region are answered.
resource "aws_route53_resolver_firewall_domain_list" "known" {
  name = "${var.name}-known"
  domains = concat(
    ["*.${var.region}.amazonaws.com.", "*.compute.internal.", "*.ec2.internal."],
    [for one in var.also : "${one}."],
  )
}

resource "aws_route53_resolver_firewall_domain_list" "all" {
  name    = "${var.name}-all"
  domains = ["*."]
}

resource "aws_route53_resolver_firewall_rule_group" "names" {
  name = "${var.name}-names"
}

resource "aws_route53_resolver_firewall_rule" "known" {
  name                    = "known"
  action                  = "ALLOW"
  priority                = 100
  firewall_domain_list_id = aws_route53_resolver_firewall_domain_list.known.id
  firewall_rule_group_id  = aws_route53_resolver_firewall_rule_group.names.id
}

# Who owns such a name says where it leads, by names that change; the first one is what is trusted.
resource "aws_route53_resolver_firewall_domain_list" "trusted" {
  count   = length(var.others) == 0 ? 0 : 1
  name    = "${var.name}-trusted"
  domains = [for one in var.others : "${one}."]
}

resource "aws_route53_resolver_firewall_rule" "trusted" {
  count                              = length(var.others) == 0 ? 0 : 1
  name                               = "trusted"
  action                             = "ALLOW"
  priority                           = 150
  firewall_domain_redirection_action = "TRUST_REDIRECTION_DOMAIN"
  firewall_domain_list_id            = aws_route53_resolver_firewall_domain_list.trusted[0].id
  firewall_rule_group_id             = aws_route53_resolver_firewall_rule_group.names.id
}

resource "aws_route53_resolver_firewall_rule" "others" {
  name                    = "others"
  action                  = "BLOCK"
  block_response          = "NXDOMAIN"
  priority                = 200
  firewall_domain_list_id = aws_route53_resolver_firewall_domain_list.all.id
  firewall_rule_group_id  = aws_route53_resolver_firewall_rule_group.names.id
}

resource "aws_route53_resolver_firewall_rule_group_association" "names" {
  name                   = "${var.name}-names"
  vpc_id                 = var.vpc_id
  firewall_rule_group_id = aws_route53_resolver_firewall_rule_group.names.id
  priority               = 101
}
