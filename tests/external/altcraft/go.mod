module steward/altcraft

go 1.19
