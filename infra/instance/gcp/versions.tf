# The lines of versions that the kept schemas are of (infra/schemas); `nightingale_schemas check` compares them.
terraform {
  required_version = ">= 1.10.0, < 2.0.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  # Bucket, key, region and use_lockfile come from whoever runs this (-backend-config): the builds of every place run
  # beside the control plane, and their states lie in its bucket.
  backend "s3" {}
}
