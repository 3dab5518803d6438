"""What is wrong or suspicious in nets and solvers that build all the same: a table of rules, one function each."""
