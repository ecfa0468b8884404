# The provider is pinned to a line of versions that the tests have played; hashicorp/aws 6 changes arguments.
terraform {
  required_version = ">= 1.10.0, < 2.0.0" # 1.10 is the first to lock a state in S3 by itself

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket, key, region and use_lockfile come from whoever runs this (-backend-config); -backend=false for a try.
  backend "s3" {}
}
