"""pipelinewise-tap-s3-csv, whose first request knows no other S3 than Amazon's."""

import functools
import sys

import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]
from tap_s3_csv import main  # type: ignore[import-not-found]

# The first argument: where S3 is.
url = sys.argv.pop(1)
boto3.client = functools.partial(boto3.client, endpoint_url=url)
boto3.resource = functools.partial(boto3.resource, endpoint_url=url)
main()
