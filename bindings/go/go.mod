module hostcrst

go 1.19
